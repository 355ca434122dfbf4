"""Any row of a table or a plain vector as one finite float32 vector."""
