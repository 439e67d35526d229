"""A guard as an MCP server of its own, on stdio or HTTP. Above: the command line. Below: guard and hub."""
