"""Where credentials come from: environment, files, a keyring, token endpoints; and how long they are kept."""
