int run(int words);
