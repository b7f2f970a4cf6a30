"""`python -m equiprop`, for where the command is not on the path."""

from equiprop.cli.main import main

if __name__ == "__main__":
    main()
