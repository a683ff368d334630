"""Images that people bring: a zip is judged and unpacked by a limited process of its own, `python -m gan.uploads`.

That process knows neither torch nor the record, and holds no secret: what it reads was made by strangers.
"""
