"""One thread for PyTorch, which reads this when it is imported: its threads wait by spinning, beside other workers."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
