int verify(int value);
