"""What is said about an image, beside it. A kind is a row of `KINDS`; what it is made of is one value, `About`."""
