"""The object map for agents (MCP) and for a web browser: saved maps and running nodes alike."""
