"""The size of an image that is made to fit into a box and keeps its proportions."""


class EmptyImage(Exception):
    """An image with a side of no length has no proportions to keep."""


def handler(event, context):
    # Numbers may be text: that is what a CSV file has.
    width, height, box = (int(event[side]) for side in ("width", "height", "box"))
    if width <= 0 or height <= 0:
        print(f"invocation {context.aws_request_id} has a strange image")
        raise EmptyImage(f"{width}x{height}")
    longer = max(width, height)
    if longer <= box:
        return f"{width}x{height}"
    return f"{scaled(width, box, longer)}x{scaled(height, box, longer)}"


def scaled(side, box, longer):
    return max(1, side * box // longer)
