"use strict";
// Of every page with a map over a picture: the value between the centres of its cells, the edge
// continued outwards; u and v are fractions of the map.
function sample(map, u, v) {
  const h = map.length, w = map[0].length;
  const x = Math.min(Math.max(u * w - 0.5, 0), w - 1), y = Math.min(Math.max(v * h - 0.5, 0), h - 1);
  const x0 = Math.floor(x), y0 = Math.floor(y), x1 = Math.min(x0 + 1, w - 1), y1 = Math.min(y0 + 1, h - 1);
  const top = map[y0][x0] + (map[y0][x1] - map[y0][x0]) * (x - x0);
  const bottom = map[y1][x0] + (map[y1][x1] - map[y1][x0]) * (x - x0);
  return top + (bottom - top) * (y - y0);
}
