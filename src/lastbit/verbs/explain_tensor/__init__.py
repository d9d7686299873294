"""Where one tensor's scale and zero point come from."""
