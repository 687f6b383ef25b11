"""A picture of a section."""


def draw(document):
    return ""
