"""
Pillow: pictures that one release encodes and another decodes, and what is resized, converted, filtered and drawn.

Python 3.8 and newer.
"""

import io

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageEnhance, ImageFilter, ImageOps

if not hasattr(Image, "Resampling"):
    raise ImportError("older than 9.1")

_y, _x = np.mgrid[0:97, 0:131]
RGB = np.stack([(_x * 255 // 130), (_y * 255 // 96), ((np.sin(_x / 5.0) * np.cos(_y / 7.0) + 1) * 127)], axis=2).astype(
    np.uint8
)
RGB[20:50, 30:70] = [250, 20, 30]
RGB[60:62, :] = 255
ALPHA = ((_x + _y) % 256).astype(np.uint8)
PICTURE = Image.fromarray(RGB)
CLEAR = Image.fromarray(np.dstack([RGB, ALPHA]))
GREY = PICTURE.convert("L")

CASES = {}


def compute(name, *steps, **named):
    uses = {"pixels": steps[0]} if steps else named
    CASES[name] = (None, {key: (lambda step: lambda _: seen(step()))(step) for key, step in uses.items()})


def seen(value):
    """A picture as numbers."""
    return np.asarray(value) if isinstance(value, Image.Image) else value


def encoded(name, kind, picture, **options):
    """A file that one release writes, and that each reads."""

    def make():
        out = io.BytesIO()
        picture.save(out, kind, **options)
        return out.getvalue()

    uses = {
        "pixels": lambda data: seen(Image.open(io.BytesIO(data)).convert("RGBA" if picture.mode == "RGBA" else "RGB")),
        "mode": lambda data: Image.open(io.BytesIO(data)).mode,
        "size": lambda data: str(Image.open(io.BytesIO(data)).size),
    }
    if kind == "JPEG":
        uses["draft"] = lambda data: _draft(data)
        uses["thumbnail"] = lambda data: _thumbnail(data)
    CASES["file-" + name] = (make, uses)
    CASES["bytes-" + name] = (None, {"file": lambda _: make()})


def _draft(data):
    picture = Image.open(io.BytesIO(data))
    picture.draft("RGB", (40, 40))
    return seen(picture.convert("RGB"))


def _thumbnail(data):
    picture = Image.open(io.BytesIO(data))
    picture.thumbnail((48, 48))
    return seen(picture)


encoded("jpeg", "JPEG", PICTURE)
encoded("jpeg-444", "JPEG", PICTURE, quality=95, subsampling=0)
encoded("jpeg-422", "JPEG", PICTURE, quality=80, subsampling=1)
encoded("jpeg-progressive", "JPEG", PICTURE, progressive=True, quality=60)
encoded("jpeg-grey", "JPEG", GREY)
encoded("jpeg-cmyk", "JPEG", PICTURE.convert("CMYK"))
encoded("jpeg-keyword-optimize", "JPEG", PICTURE, optimize=True)
encoded("png", "PNG", PICTURE)
encoded("png-alpha", "PNG", CLEAR)
encoded("png-palette", "PNG", PICTURE.quantize(32))
encoded("gif", "GIF", PICTURE)
encoded("bmp", "BMP", PICTURE)
encoded("tiff", "TIFF", PICTURE)
encoded("tiff-lzw", "TIFF", PICTURE, compression="tiff_lzw")
encoded("tiff-jpeg", "TIFF", PICTURE, compression="jpeg")
encoded("webp", "WEBP", PICTURE)
encoded("webp-lossless", "WEBP", CLEAR, lossless=True)
encoded("jpeg2000", "JPEG2000", PICTURE)
encoded("ppm", "PPM", PICTURE)
encoded("ico", "ICO", PICTURE)

for _name in ("NEAREST", "BOX", "BILINEAR", "HAMMING", "BICUBIC", "LANCZOS"):
    compute(
        "resize-" + _name.lower(),
        smaller=(lambda n: lambda: PICTURE.resize((47, 35), getattr(Image.Resampling, n)))(_name),
        larger=(lambda n: lambda: PICTURE.resize((300, 211), getattr(Image.Resampling, n)))(_name),
        grey=(lambda n: lambda: GREY.resize((47, 35), getattr(Image.Resampling, n)))(_name),
        clear=(lambda n: lambda: CLEAR.resize((47, 35), getattr(Image.Resampling, n)))(_name),
    )
compute("resize-default", rgb=lambda: PICTURE.resize((47, 35)), palette=lambda: PICTURE.quantize(32).resize((47, 35)))
compute("resize-old-name", lambda: PICTURE.resize((47, 35), getattr(Image, "ANTIALIAS")))
compute("resize-box", lambda: PICTURE.resize((40, 40), Image.Resampling.BILINEAR, box=(3.5, 2.25, 90.5, 80.75)))
compute(
    "resize-float", lambda: Image.fromarray(RGB[:, :, 0].astype(np.float32)).resize((47, 35), Image.Resampling.BICUBIC)
)
compute(
    "resize-int16",
    lambda: Image.fromarray((RGB[:, :, 0].astype(np.uint16) * 200)).resize((47, 35), Image.Resampling.BICUBIC),
)
compute("thumbnail", lambda: _small(PICTURE))
compute("reduce", lambda: PICTURE.reduce(3))
compute(
    "rotate",
    nearest=lambda: PICTURE.rotate(33),
    bilinear=lambda: PICTURE.rotate(33, Image.Resampling.BILINEAR),
    bicubic=lambda: PICTURE.rotate(33, Image.Resampling.BICUBIC, expand=True),
)
compute(
    "affine",
    lambda: PICTURE.transform((90, 90), Image.Transform.AFFINE, (0.9, 0.1, 3, -0.1, 0.9, 4), Image.Resampling.BILINEAR),
)
compute(
    "perspective",
    lambda: PICTURE.transform(
        (90, 90), Image.Transform.PERSPECTIVE, (0.9, 0.1, 3, -0.1, 0.9, 4, 0.001, 0.002), Image.Resampling.BICUBIC
    ),
)
compute("convert-grey", lambda: PICTURE.convert("L"))
compute("convert-YCbCr", lambda: PICTURE.convert("YCbCr"))
compute("convert-HSV", lambda: PICTURE.convert("HSV"))
compute("convert-LAB", lambda: PICTURE.convert("LAB"))
compute("convert-CMYK", lambda: PICTURE.convert("CMYK"))
compute("convert-CMYK-back", lambda: PICTURE.convert("CMYK").convert("RGB"))
compute("convert-float", lambda: PICTURE.convert("F"))
compute("convert-int", lambda: PICTURE.convert("I"))
compute("convert-1-dithered", lambda: PICTURE.convert("1"))
compute("convert-palette", lambda: PICTURE.convert("P").convert("RGB"))
compute(
    "convert-palette-adaptive", lambda: PICTURE.convert("P", palette=Image.Palette.ADAPTIVE, colors=16).convert("RGB")
)
compute("convert-alpha-premultiplied", lambda: CLEAR.convert("RGBa"))
compute("convert-16-bit-to-8", lambda: Image.fromarray((RGB[:, :, 0].astype(np.uint16) * 200)).convert("L"))
compute("quantize-median-cut", lambda: PICTURE.quantize(16).convert("RGB"))
compute("quantize-max-coverage", lambda: PICTURE.quantize(16, method=Image.Quantize.MAXCOVERAGE).convert("RGB"))
compute("quantize-octree", lambda: CLEAR.quantize(16, method=Image.Quantize.FASTOCTREE).convert("RGBA"))
compute("filter-gaussian", lambda: PICTURE.filter(ImageFilter.GaussianBlur(2)))
compute("filter-box", lambda: PICTURE.filter(ImageFilter.BoxBlur(2.5)))
compute("filter-unsharp", lambda: PICTURE.filter(ImageFilter.UnsharpMask()))
compute("filter-kernel", lambda: PICTURE.filter(ImageFilter.SHARPEN), edges=lambda: 0)
compute("filter-median", lambda: PICTURE.filter(ImageFilter.MedianFilter(3)))
compute("enhance-colour", lambda: ImageEnhance.Color(PICTURE).enhance(1.4))
compute("enhance-contrast", lambda: ImageEnhance.Contrast(PICTURE).enhance(1.4))
compute("enhance-sharpness", lambda: ImageEnhance.Sharpness(PICTURE).enhance(1.7))
compute("equalize", lambda: ImageOps.equalize(PICTURE))
compute("autocontrast", lambda: ImageOps.autocontrast(PICTURE, cutoff=2))
compute(
    "posterize-solarize",
    posterize=lambda: ImageOps.posterize(PICTURE, 3),
    solarize=lambda: ImageOps.solarize(PICTURE, 100),
)
compute("fit", lambda: ImageOps.fit(PICTURE, (60, 60)))
compute("pad", lambda: ImageOps.pad(PICTURE, (60, 60)))
compute("contain", lambda: ImageOps.contain(PICTURE, (60, 60)))
compute("exif-transpose", lambda: ImageOps.exif_transpose(_turned()))
compute("blend", lambda: Image.blend(PICTURE, PICTURE.rotate(180), 0.3))
compute("composite", lambda: Image.composite(PICTURE, PICTURE.rotate(180), GREY))
compute("alpha-composite", lambda: Image.alpha_composite(CLEAR, CLEAR.rotate(180)))
compute("paste-mask", lambda: _pasted())
compute(
    "chops",
    multiply=lambda: ImageChops.multiply(PICTURE, PICTURE.rotate(180)),
    screen=lambda: ImageChops.screen(PICTURE, PICTURE.rotate(180)),
    difference=lambda: ImageChops.difference(PICTURE, PICTURE.rotate(180)),
)
compute("draw-shapes", lambda: _drawn())
compute("draw-text-default-font", lambda: _text())
compute("histogram", lambda: np.array(PICTURE.histogram()))
compute("entropy", lambda: PICTURE.entropy())
compute("statistics", lambda: __import__("PIL.ImageStat").ImageStat.Stat(PICTURE).stddev[0])
compute(
    "fromarray-mode",
    float64=lambda: Image.fromarray(RGB[:, :, 0].astype(np.float64)).mode,
    int32=lambda: Image.fromarray(RGB[:, :, 0].astype(np.int32)).mode,
    boolean=lambda: Image.fromarray(RGB[:, :, 0] > 99).mode,
)
compute("fromarray-mode-argument", lambda: Image.fromarray(RGB[:, :, 0], mode="L"))
compute(
    "old-methods",
    getsize=lambda: str(bool(getattr(__import__("PIL.ImageFont").ImageFont.load_default(), "getsize"))),
    textsize=lambda: str(bool(getattr(ImageDraw.Draw(GREY), "textsize"))),
    getdata=lambda: str(len(list(GREY.getdata()))),
)
CASES["filter-kernel"] = (None, {"pixels": lambda _: seen(PICTURE.filter(ImageFilter.SHARPEN))})


def _small(picture):
    picture = picture.copy()
    picture.thumbnail((48, 48))
    return picture


def _turned():
    picture = PICTURE.copy()
    exif = picture.getexif()
    exif[274] = 6
    out = io.BytesIO()
    picture.save(out, "PNG", exif=exif)
    return Image.open(io.BytesIO(out.getvalue()))


def _pasted():
    picture = PICTURE.copy()
    picture.paste(PICTURE.rotate(180), (5, 7), GREY)
    return picture


def _drawn():
    picture = PICTURE.copy()
    draw = ImageDraw.Draw(picture)
    draw.ellipse((10, 10, 60, 50), fill=(0, 255, 0), outline=(0, 0, 255), width=3)
    draw.line((0, 0, 130, 96), fill=(255, 255, 0), width=4)
    draw.polygon([(70, 10), (120, 40), (90, 80)], fill=(1, 2, 3))
    draw.arc((20, 20, 90, 90), 10, 200, fill=(9, 9, 9), width=2)
    draw.rounded_rectangle((60, 50, 120, 90), 9, fill=(200, 100, 50))
    return picture


def _text():
    picture = Image.new("L", (120, 30))
    ImageDraw.Draw(picture).text((3, 3), "envparity 12", fill=255)
    return picture
