"""``python -m ptprof`` is ``ptprof``."""

from ptprof.cli import main

if __name__ == "__main__":
    main()
