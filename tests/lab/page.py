def render(folder):
    pass
