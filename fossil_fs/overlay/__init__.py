"""The writable file system: a base tree that never changes, and above it what the scratch holds.

Two invariants carry everything here:

- *Chain*: an inode with a record in the scratch is reached by names in the scratch, from the root
  on; so what changed is found by walking the scratch, never the tree. (Linked inodes of the base are
  found by their number in the links instead.)
- *No await between looking and changing*: a mutation reads what it needs from the base first, then
  looks at the scratch again and changes it without waiting. A save may come in between, not inside.
"""
