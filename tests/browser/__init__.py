"""`make browser`: the dashboard of a real service in a real Chromium, from an upload to a comparison."""
