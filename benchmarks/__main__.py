"""`python -m benchmarks`; imports nothing where a measurement's process imports it again."""

if __name__ == "__main__":
    import sys

    from benchmarks.command import main

    sys.exit(main())
