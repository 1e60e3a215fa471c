"""The pages of the site, a file each: `page(report) -> Page`, or `pages(report)` for one page a board or a trial."""
