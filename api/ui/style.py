"""The CSS of the pages in addition to Quasar: images, tables that become cards on a telephone, and the focus ring."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
<style>
body { font-family: system-ui, -apple-system, "Segoe UI", sans-serif; }
.nicegui-content { padding: 1rem; max-width: 78rem; margin: 0 auto; width: 100%; align-items: stretch; }
.skip { position: absolute; left: -999px; top: 0; z-index: 9999; background: #fff; color: #000; padding: .5rem; }
.skip:focus { left: 0; }
/* Quasar removes the outline of its controls with !important, in a layer. Among important rules the first layer wins,
   and `theme` is NiceGUI's first. A text field shows the outline around its whole box, a slider around its thumb. */
body { --gantry-focus: #0b6bcb; }
body.body--dark { --gantry-focus: #7cc0ff; }
@layer theme {
  :focus-visible { outline: 3px solid var(--gantry-focus) !important; outline-offset: 2px !important; }
  .q-field :focus-visible, .q-slider :focus-visible { outline: none !important; }
  .q-field:has(:focus-visible) .q-field__control, .q-slider:has(:focus-visible) .q-slider__thumb {
    outline: 3px solid var(--gantry-focus) !important; outline-offset: 2px !important; }
  .q-item:focus-visible { outline-offset: -3px !important; }
}
.q-btn { text-transform: none; }
.q-field--with-bottom { padding-bottom: 0; }
.q-field__messages { line-height: 1.35; }
.q-field__bottom--animated { position: static; transform: none; }
.gantry-head { --gantry-focus: #fff; }
.gantry-nav { flex: 1; }
.gantry-nav a { color: #fff; padding: .35rem .6rem; border-radius: .35rem; text-decoration: none;
  white-space: nowrap; }
.gantry-nav a:hover { background: rgba(255,255,255,.15); }
.gantry-nav a[aria-current=page] { background: rgba(255,255,255,.25); }
.gantry-dim { opacity: .75; }
.gantry-panel { border: 1px solid rgba(128,128,128,.3); border-radius: .6rem; padding: 1rem; width: 100%; }
.gantry-picture { max-width: 100%; height: auto; image-rendering: pixelated; border-radius: .35rem; }
.gantry-thumb { width: 116px; height: 58px; max-width: none; object-fit: contain; border-radius: .35rem;
  background: rgba(128,128,128,.12); display: block; }
.gantry-spark { max-width: none; background: rgba(128,128,128,.12); border-radius: .35rem; display: block; }
.body--dark .text-negative { --q-negative: #ff8a80; }
.body--dark .q-btn--outline { --q-primary: #7cc0ff; }
.gantry-link { color: #0b6bcb; text-decoration: underline; overflow-wrap: anywhere; }
.body--dark .gantry-link { color: #7cc0ff; }
.gantry-file { max-width: 100%; padding: .5rem; border: 1px dashed rgba(128,128,128,.7); border-radius: .35rem; }
.gantry-file::file-selector-button { margin-right: .75rem; padding: .35rem .75rem; border: 1px solid currentColor;
  border-radius: .35rem; background: transparent; color: inherit; cursor: pointer; }
.gantry-form { display: flex; flex-direction: column; align-items: flex-start; gap: .75rem; width: 100%; }
.gantry-form label { width: 100%; max-width: 26rem; }
.gantry-input { width: 100%; padding: .5rem; border: 1px solid rgba(128,128,128,.7);
  border-radius: .35rem; background: transparent; color: inherit; }
.gantry-bar { min-width: 7rem; width: 100%; }
/* A long reason must not take the width of the other columns: three lines of it, and the rest in its title. */
.gantry-table td { white-space: normal; overflow-wrap: break-word; }
.gantry-cell-link .gantry-link { display: inline-block; min-width: 6rem; }
.gantry-why { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 3; overflow: hidden;
  max-width: 18rem; min-width: 9rem; margin-top: .25rem; opacity: .75; overflow-wrap: anywhere; }
@media (max-width: 640px) {
  .nicegui-content { padding: .6rem; }
  .gantry-head { row-gap: 0; }
  .gantry-name { margin-right: auto; }
  .gantry-nav { order: 1; flex: 0 0 100%; gap: 0; justify-content: space-between; }
  .gantry-nav a { padding: .35rem .3rem; font-size: .9rem; }
}
@media (max-width: 1023px) {
  .gantry-table thead { display: none; }
  .gantry-table table, .gantry-table tbody { display: block; }
  .gantry-table tbody tr { display: grid; padding: .5rem 0; border-bottom: 1px solid rgba(128,128,128,.3);
    grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); }
  .gantry-why { max-width: none; }
  .gantry-table tbody td { border: 0 !important; height: auto !important; padding: .15rem .75rem !important;
    text-align: left !important; display: flex; gap: .6rem; align-items: center; }
  .gantry-table tbody td[data-label]::before { content: attr(data-label); position: static !important;
    background: none !important; opacity: .75; flex: 0 0 6rem; }
}
</style>
"""
