"""Where a screen comes from: layouts of folders, cell tables and controls."""
