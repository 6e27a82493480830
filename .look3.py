import sys,time
from pathlib import Path
from tests.scenarios.browser import browser
from PIL import Image
with browser(Path("/tmp/pic_look/profile5")) as b:
    for d in ("dev","buf"):
        b.open(Path(f"/tmp/pic_look/{d}/report.html")); time.sleep(1); print(b.complaints())
        h=b.js("return document.documentElement.scrollHeight"); b.picture(Path("/tmp/pic_look/x.png"),h)
        y=b.js("return [...document.querySelectorAll('h2')].filter(x=>x.id==='devices').map(x=>x.getBoundingClientRect().top+scrollY)[0]")
        Image.open("/tmp/pic_look/x.png").crop((0,int(y),1280,int(y)+2000)).save(f"/tmp/pic_look/{d}.png")
