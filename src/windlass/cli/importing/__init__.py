"""Reading what is to be imported: any size in constant memory, every fault with its line and field."""
