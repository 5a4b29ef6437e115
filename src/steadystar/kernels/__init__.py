"""Pure array functions for one spectrum; a batch is vmap."""
