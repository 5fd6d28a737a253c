"""What CI does, as small tested modules. `noxfile.py` holds only sessions that call them."""
