"""The mount's side of the guard: sees who changes what, keeps what is overwritten, and holds up whom it must."""
