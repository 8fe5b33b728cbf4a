"""Pages and their pictures: the report of scores, and the parts that every page is made of."""
