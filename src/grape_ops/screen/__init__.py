"""Where a screen comes from: layouts of folders, cell tables, controls, and a simulated screen."""
