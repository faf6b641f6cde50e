"""`python -m benchmarks.joint`: joint drift beside other methods, and its cost."""

from benchmarks.joint.comparison import main

if __name__ == "__main__":
    main()
