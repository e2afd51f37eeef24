"""Where plain steps run that want more than a thread: processes of this machine, a Ray cluster, a place of your own."""
