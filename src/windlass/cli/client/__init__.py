"""What commands ask for, and the two who answer: a server over HTTP, or this process on the database itself."""
