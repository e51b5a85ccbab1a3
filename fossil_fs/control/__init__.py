"""The control directory: files and directories in a mount that are in no tree and no score."""
