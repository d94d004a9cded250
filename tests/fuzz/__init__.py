"""Fuzzing: any bytes, in any cuts, at the four places where golb reads what others write. docs/fuzzing.md says how."""
