"""What the heat over a film means, in words and on one scale; nothing here loads numpy."""

WHAT_IT_IS = (
    "The heat shows which part of the lungs raised the score. It is not the outline of a disease: "
    "it can miss one, spread beyond it, or mark healthy lung. Look at the whole film."
)

# In raw-score units above the upper cut-off, in every picture: the core of the heat, drawn as one
# thin contour, and where the colour is strongest.
CORE, FULL = 6.0, 12.0
