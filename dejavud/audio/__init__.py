"""Where PCM comes from: files, bytes, microphones."""
