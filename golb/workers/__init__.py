"""What a parent and its workers say to each other, and how: processes, the links between them, and what goes over these."""
