"""What crosses a socket.  Standard library only, so that a client starts fast."""
