"""What the commands' arguments share."""

import argparse

SOURCE = "folder with train.rec and train.idx, or path of a .rec file"


def positive(text):
    """Type of arguments that are whole numbers from 1 on."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number
