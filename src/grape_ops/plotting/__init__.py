"""All figures drawn with matplotlib; they take arrays and plain tables, and know no run and no store."""
