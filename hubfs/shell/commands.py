"""The lines that are for the client of a shell and not for the shell."""

# as people type them, and what they do; the manual has this table
COMMANDS = (
    ("%detach", "leave; the shell goes on"),
    ("%attach NAME", "go to another shell of this mount"),
    ("%remote NAME", "start a shell where this one runs; go to it"),
    ("%local NAME", "start a shell on this machine; go to it"),
    ("%in MS, %out MS, %err MS", "wait before passing on input, output, errors"),
    ("%eof, %freeze, %melt", "tell ctl so about the shell's input"),
    ("%fear, %calm, %trunc, %notrunc", "these too"),
    ("%list", "the files of this mount"),
    ("%status", "where you are"),
    ("%quit", "end the whole hub mount"),
)
CTL_WORDS = frozenset(("eof", "freeze", "melt", "fear", "calm", "trunc", "notrunc"))
