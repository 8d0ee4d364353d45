"""One `Radiograph` to one `ScreeningResult`; opens no folder."""
