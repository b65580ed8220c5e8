"""A process of another GPU whose steps fail as TRASHSWEEP_TEST_FAULT says: Python in which `self` is the stepper."""

import os
import sys

from trainable.engine import replica_process
from trainable.engine.train_step import Stepper

step = Stepper._backward


def faulty(self, photos, masks):
    exec(os.environ["TRASHSWEEP_TEST_FAULT"], {"self": self})
    return step(self, photos, masks)


Stepper._backward = faulty
sys.exit(replica_process.main())
