"""Files and directories on hash trees: vac, unvac and the fossil file system."""
