// What the reasons of the tables are called on the page.

export const WHY = { blur: "blurred", small: "too small", pose: "turned away", unfamiliar: "unlike the faces the model learnt from" };
