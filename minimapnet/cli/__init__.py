"""The commands: each file adds one to the command line by `add`, checks what the user gave, and calls the rooms below."""
