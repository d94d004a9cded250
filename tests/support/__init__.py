"""What tests of several packages share: golb's parts put together, raw connections, scripted endpoints."""
