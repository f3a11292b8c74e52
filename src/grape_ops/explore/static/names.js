// Names of genes beside their dots: moved to another side, or left out, where they would overlap.

export const FONT = 11.5; // px
const HEIGHT = FONT * 1.25;
const SIDES = [
  ["top center", 0, -1],
  ["bottom center", 0, 1],
  ["middle right", 1, 0],
  ["middle left", -1, 0],
  ["top right", 1, -1],
  ["top left", -1, -1],
  ["bottom right", 1, 1],
  ["bottom left", -1, 1],
];
const pen = document.createElement("canvas").getContext("2d");

const overlap = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;

/** Where the name would stand on one side of its dot. */
function area({ x, y, width, gap }, [, across, down]) {
  const left = across ? x + across * gap - (across < 0 ? width : 0) : x - width / 2;
  const top = down ? y + down * gap - (down < 0 ? HEIGHT : 0) : y - HEIGHT / 2;
  return { left, right: left + width, top, bottom: top + HEIGHT };
}

/**
 * The side of each name, or null where it is left out: names are { x, y, text, bold, must, gap } in pixels, the most
 * important first, `gap` from the dot's centre; dots are [x, y, radius] in pixels, `box` is the plot's { width, height }.
 * A name touches no dot and no other name; one that must be there may cover dots.
 */
export function placed(names, dots, box) {
  const taken = [];
  const inside = (area) => area.left >= 0 && area.right <= box.width && area.top >= 0 && area.bottom <= box.height;
  const hidesDot = (area, own) =>
    dots.some(
      ([x, y, radius]) =>
        (x !== own.x || y !== own.y) &&
        x > area.left - radius &&
        x < area.right + radius &&
        y > area.top - radius &&
        y < area.bottom + radius,
    );
  return names.map((name) => {
    pen.font = `${name.bold ? "bold " : ""}${FONT}px system-ui, sans-serif`;
    const own = { ...name, width: pen.measureText(name.text).width + 2 };
    const free = SIDES.map((side) => [side, area(own, side)]).filter(
      ([, place]) => inside(place) && !taken.some((other) => overlap(other, place)),
    );
    const [side, place] = free.find(([, place]) => !hidesDot(place, own)) || (name.must && free[0]) || [];
    if (place) taken.push(place);
    return side ? side[0] : null;
  });
}
