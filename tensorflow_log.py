"""Imported before TensorFlow for its effect: TensorFlow's own messages stay away.

What goes wrong reaches the user as an exception all the same. To see the messages, set
TF_CPP_MIN_LOG_LEVEL=0 in the environment. Ctrl-C in the seconds that TensorFlow takes
to load, before errors.run_main is there, ends a script without a traceback.
"""

import logging
import os
import sys

if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    logging.getLogger("tensorflow").setLevel(logging.ERROR)


def _report(kind, value, traceback):
    if issubclass(kind, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
    else:
        sys.__excepthook__(kind, value, traceback)


sys.excepthook = _report
