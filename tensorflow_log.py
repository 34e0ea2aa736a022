"""Imported before TensorFlow for its effect: TensorFlow's own messages stay away.

What goes wrong reaches the user as an exception all the same. To see the messages, set
TF_CPP_MIN_LOG_LEVEL=0 in the environment.
"""

import logging
import os

if "TF_CPP_MIN_LOG_LEVEL" not in os.environ:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
