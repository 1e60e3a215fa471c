"""What the site draws, a file for each kind of chart: records or rows in, a Vega-Lite specification or geometry out.

parts.py holds what they share; images.py writes SVG and PNG; strip.py and trial_curves.py are static, as there are thousands.
"""
