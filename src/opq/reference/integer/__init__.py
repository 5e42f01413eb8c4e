"""The definition of running a network on integers: `precision="int8"` and `"int16"` of a session (docs/integers.md)."""
